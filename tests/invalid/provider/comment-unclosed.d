# comment-unclosed.d:6:20: error: this comment is never closed
#   provider libvirt { /* probe a(int x);
#                      ^~
#   hint: close it with '*/'

provider libvirt { /* probe a(int x);
};
