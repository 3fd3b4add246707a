/* A provider with all that providers may have;
   probe not_a_probe(int x); */
#pragma D attributes Evolving/Evolving/Common provider demo provider

# file: src/none.c is only a comment here
provider demo {
	probe start();
	probe stop(void);
	# file: src/io.c
	# prefix: io
	probe io_read(int fd, const char *path, char const *mode, char* buffer, char **lines,
		      unsigned char *bytes, const void *const data);
	# Prefix: other
	probe io_probe(unsigned long long int when, struct stat *st, int next, int next_, size_t string);
	# file: src/elsewhere.c
	# binary: demod
	probe gone(int a);
	probe changed(int a, int b);
	probe twice(int a);
};
