package sink

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipWriters is shared by all partitions, because a writer holds several hundred kilobytes and is
// only needed while a batch is sealed.
var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return &deflater{Writer: w}
}}

type deflater struct {
	*gzip.Writer
	out bytes.Buffer
}

// deflate returns raw compressed, in a slice of exactly the needed length.
func deflate(raw []byte) []byte {
	d := gzipWriters.Get().(*deflater)
	defer gzipWriters.Put(d)
	d.out.Reset()
	d.Reset(&d.out)
	d.Write(raw) //nolint:errcheck // a bytes.Buffer never fails
	d.Close()
	return bytes.Clone(d.out.Bytes())
}

// inflate reverses deflate. size is the length of the result.
func inflate(body []byte, size int) []byte {
	raw := make([]byte, size)
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		_, err = io.ReadFull(r, raw)
	}
	if err != nil {
		panic("sink: decompress own body: " + err.Error())
	}
	return raw
}
