package wire

import (
	"strconv"
	"sync"
)

// keepChunk is the largest buffer that is kept for the next chunk.
const keepChunk = 32 << 10

// lastChunk ends a chunked response (RFC 9112, 7.1): a connection that ends without it
// was cut.
var lastChunk = []byte("0\r\n\r\n")

// chunk is what goes onto the connection for the bytes of one Write.
type chunk struct{ b []byte }

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// frame returns b as a chunk, if the response is chunked. Nothing stays nothing: an
// empty chunk would be the last.
func (c *socket) frame(b []byte) *chunk {
	k := chunks.Get().(*chunk)
	switch {
	case len(b) == 0:
		k.b = k.b[:0]
	case !c.chunked:
		k.b = append(k.b[:0], b...)
	default:
		k.b = strconv.AppendUint(k.b[:0], uint64(len(b)), 16)
		k.b = append(k.b, "\r\n"...)
		k.b = append(k.b, b...)
		k.b = append(k.b, "\r\n"...)
	}
	return k
}

func (k *chunk) bytes() []byte { return k.b }

// free gives k back. It must not be used afterwards.
func (k *chunk) free() {
	if cap(k.b) <= keepChunk {
		chunks.Put(k)
	}
}
