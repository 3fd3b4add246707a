# void-argument.d:6:18: error: expected a type with a value for 'x', got void
#       probe a(void x, int y);
#                    ^

provider libvirt {
    probe a(void x, int y);
};
