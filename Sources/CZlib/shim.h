// The one place where zlib's C header enters the build; only MeshGateway imports this module.
#include <zlib.h>
