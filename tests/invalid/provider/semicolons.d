# semicolons.d:10:19: error: expected ';' behind ')'
#       probe a(int x)
#                     ^
# semicolons.d:11:20: error: expected '}' or 'probe', found ';'
#       probe b(int y);;
#                      ^
#   hint: one ';' is enough

provider libvirt {
    probe a(int x)
    probe b(int y);;
};
