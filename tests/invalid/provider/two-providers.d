# two-providers.d:9:1: error: expected the end of the file, got 'provider'
#   provider b {
#   ^~~~~~~~
#   hint: a file has one provider

provider a {
    probe a();
};
provider b {
    probe b();
};
