# translated.d:7:20: error: ':' has no meaning in a provider file
#       probe a(int x) : (long y);
#                      ^
#   hint: translated arguments have no meaning for SystemTap

provider libvirt {
    probe a(int x) : (long y);
};
