# array.d:7:22: error: '[' has no meaning in a provider file
#       probe a(char name[16]);
#                        ^
#   hint: an array is passed as a pointer: 'char *name'

provider libvirt {
    probe a(char name[16]);
};
