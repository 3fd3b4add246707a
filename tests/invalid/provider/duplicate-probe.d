# duplicate-probe.d:10:11: error: a second probe is called 'a'
#       probe a(int y);
#             ^
# duplicate-probe.d:9:11: note: the first one
#       probe a(int x);
#             ^

provider libvirt {
    probe a(int x);
    probe a(int y);
};
