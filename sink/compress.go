package sink

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// gzipWriters are shared by all partitions, because a writer holds several
// hundred kilobytes and is needed only while a batch is sealed.
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

// deflate compresses raw into a slice of exactly the length that is needed.
func deflate(raw []byte) []byte {
	d := gzipWriters.Get().(*deflater)
	defer gzipWriters.Put(d)
	d.out.Reset()
	d.Reset(&d.out)
	d.Write(raw) // a bytes.Buffer never fails
	d.Close()
	return bytes.Clone(d.out.Bytes())
}

// inflate undoes deflate.
func inflate(body []byte, size int) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("unpack a body: %w", err)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return nil, fmt.Errorf("unpack a body: %w", err)
	}
	return raw, nil
}
