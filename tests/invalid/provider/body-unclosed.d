# body-unclosed.d:9:20: error: expected '}' or 'probe', got the end of the file
#       probe a(int x);
#                      ^
# body-unclosed.d:8:18: note: unclosed '{'
#   provider libvirt {
#                    ^

provider libvirt {
    probe a(int x);
