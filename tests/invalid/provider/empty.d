# empty.d:1:1: error: expected 'provider', but the file ends here
#   # empty.d:1:1: error: expected 'provider', but the file ends here
#   ^

