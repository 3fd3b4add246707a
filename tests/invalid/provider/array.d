# array.d:7:22: error: unexpected '[': it has no meaning in a provider file
#       probe a(char name[16]);
#                        ^
#   hint: pass an array as a pointer: 'char *name'

provider libvirt {
    probe a(char name[16]);
};
