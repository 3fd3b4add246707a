# duplicate-argument.d:9:26: error: a second argument is called 'x'
#       probe a(int x, void *x);
#                            ^
# duplicate-argument.d:9:17: note: the first one
#       probe a(int x, void *x);
#                   ^

provider libvirt {
    probe a(int x, void *x);
};
