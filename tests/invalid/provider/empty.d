# empty.d:1:1: error: expected 'provider', got the end of the file
#   # empty.d:1:1: error: expected 'provider', got the end of the file
#   ^

