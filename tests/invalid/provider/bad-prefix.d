# bad-prefix.d:12:11: error: 'rpc' does not begin with the prefix of its section, 'rpc_'
#       probe rpc(int x);
#             ^~~
#   hint: change the prefix with '# prefix: …' before the probe
# bad-prefix.d:13:11: error: 'object_new' does not begin with the prefix of its section, 'rpc_'
#       probe object_new(void *obj);
#             ^~~~~~~~~~
#   hint: change the prefix with '# prefix: …' before the probe

provider libvirt {
    # prefix: rpc
    probe rpc(int x);
    probe object_new(void *obj);
};
