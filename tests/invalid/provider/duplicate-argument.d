# duplicate-argument.d:9:26: error: duplicate argument 'x'
#       probe a(int x, void *x);
#                            ^
# duplicate-argument.d:9:17: note: first defined here
#       probe a(int x, void *x);
#                   ^

provider libvirt {
    probe a(int x, void *x);
};
