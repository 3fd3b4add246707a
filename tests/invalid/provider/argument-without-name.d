# argument-without-name.d:11:26: error: expected an identifier or 'const', got ')'
#       probe a(int x, void *);
#                            ^
#   hint: write a type and a name, which becomes the tapset's variable
# argument-without-name.d:12:18: error: expected an identifier or 'const', got ')'
#       probe b(pid_t);
#                    ^
#   hint: write a type and a name, which becomes the tapset's variable

provider libvirt {
    probe a(int x, void *);
    probe b(pid_t);
};
