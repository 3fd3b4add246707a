# annotation-with-prose.d:15:15: error: expected an identifier after 'prefix:', got 'of all names'
#       # prefix: of all names
#                 ^~~~~~~~~~~~
#   hint: begin a comment about anything else with a word other than 'prefix:'
# annotation-with-prose.d:16:13: error: expected a path below the source or library folder after 'file:', got '/etc/passwd'
#       # file: /etc/passwd
#               ^~~~~~~~~~~
#   hint: begin a comment about anything else with a word other than 'file:'
# annotation-with-prose.d:17:15: error: expected a path below the source or library folder after 'module:', got 'libvirt/../../evil.so'
#       # module: libvirt/../../evil.so
#                 ^~~~~~~~~~~~~~~~~~~~~
#   hint: begin a comment about anything else with a word other than 'module:'

provider libvirt {
    # prefix: of all names
    # file: /etc/passwd
    # module: libvirt/../../evil.so
    probe a(int x);
};
