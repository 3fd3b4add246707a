# void-argument.d:6:18: error: 'x' is void, which is no value
#       probe a(void x, int y);
#                    ^

provider libvirt {
    probe a(void x, int y);
};
