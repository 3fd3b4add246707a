# translated.d:7:20: error: unexpected ':': it has no meaning in a provider file
#       probe a(int x) : (long y);
#                      ^
#   hint: translated arguments are not supported by SystemTap

provider libvirt {
    probe a(int x) : (long y);
};
