package sink

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipWriters is shared by all partitions, because a writer uses several hundred kilobytes and is
// needed only while a batch is being sealed.
var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // unreachable: the level is valid
	}
	return &deflater{Writer: w}
}}

type deflater struct {
	*gzip.Writer
	out bytes.Buffer
}

// deflate compresses raw with gzip into a new slice.
func deflate(raw []byte) []byte {
	d := gzipWriters.Get().(*deflater)
	defer gzipWriters.Put(d)
	d.out.Reset()
	d.Reset(&d.out)
	d.Write(raw) //nolint:errcheck // writing to a bytes.Buffer cannot fail
	d.Close()
	return bytes.Clone(d.out.Bytes())
}

// inflate reverses deflate. size is the uncompressed length.
func inflate(body []byte, size int) []byte {
	raw := make([]byte, size)
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		_, err = io.ReadFull(r, raw)
	}
	if err != nil {
		panic("sink: decompress the request body: " + err.Error())
	}
	return raw
}
