# annotation-with-prose.d:15:15: error: 'prefix:' is followed by an identifier, not by 'of all names'
#       # prefix: of all names
#                 ^~~~~~~~~~~~
#   hint: a comment that says something else must not begin with 'prefix:'
# annotation-with-prose.d:16:13: error: 'file:' is followed by a path below the source or library folder, not by '/etc/passwd'
#       # file: /etc/passwd
#               ^~~~~~~~~~~
#   hint: a comment that says something else must not begin with 'file:'
# annotation-with-prose.d:17:15: error: 'module:' is followed by a path below the source or library folder, not by 'libvirt/../../evil.so'
#       # module: libvirt/../../evil.so
#                 ^~~~~~~~~~~~~~~~~~~~~
#   hint: a comment that says something else must not begin with 'module:'

provider libvirt {
    # prefix: of all names
    # file: /etc/passwd
    # module: libvirt/../../evil.so
    probe a(int x);
};
