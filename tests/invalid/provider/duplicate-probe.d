# duplicate-probe.d:10:11: error: duplicate probe 'a'
#       probe a(int y);
#             ^
# duplicate-probe.d:9:11: note: first defined here
#       probe a(int x);
#             ^

provider libvirt {
    probe a(int x);
    probe a(int y);
};
