# comment-unclosed.d:6:20: error: unclosed comment
#   provider libvirt { /* probe a(int x);
#                      ^~
#   hint: close it with '*/'

provider libvirt { /* probe a(int x);
};
