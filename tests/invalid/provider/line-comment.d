# line-comment.d:6:1: error: '/' has no meaning in a provider file
#   // a comment of C++
#   ^
#   hint: a comment is written '# …' or '/* … */'

// a comment of C++
provider libvirt {
    probe a(int x);
};
