# bad-prefix.d:12:11: error: 'rpc' does not begin with the prefix of its section, 'rpc_'
#       probe rpc(int x);
#             ^~~
#   hint: '# prefix: …' before the probe says another one
# bad-prefix.d:13:11: error: 'object_new' does not begin with the prefix of its section, 'rpc_'
#       probe object_new(void *obj);
#             ^~~~~~~~~~
#   hint: '# prefix: …' before the probe says another one

provider libvirt {
    # prefix: rpc
    probe rpc(int x);
    probe object_new(void *obj);
};
