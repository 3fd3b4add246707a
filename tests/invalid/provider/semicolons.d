# semicolons.d:10:19: error: expected ';' after ')'
#       probe a(int x)
#                     ^
# semicolons.d:11:20: error: expected '}' or 'probe', got ';'
#       probe b(int y);;
#                      ^
#   hint: one ';' is enough

provider libvirt {
    probe a(int x)
    probe b(int y);;
};
