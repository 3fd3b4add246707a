# body-unclosed.d:9:20: error: expected '}' or 'probe', but the file ends here
#       probe a(int x);
#                      ^
# body-unclosed.d:8:18: note: this '{' is still open
#   provider libvirt {
#                    ^

provider libvirt {
    probe a(int x);
