# void.d:7:24: error: expected a type or '*', got ')'
#       probe b(int x, void);
#                          ^
#   hint: write a type and a name, which becomes the tapset's variable

provider libvirt {
    probe b(int x, void);
};
