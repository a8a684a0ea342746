package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"time"
)

type file struct {
	name    string
	mode    int64
	content []byte
}

// archive returns a .tar.gz of files in a directory. It holds nothing of the machine that makes it: no owner, no time
// but modified.
func archive(directory string, modified time.Time, files []file) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		header := tar.Header{
			Name: directory + "/" + f.name, Mode: f.mode, Size: int64(len(f.content)),
			ModTime: modified, Format: tar.FormatUSTAR,
		}
		if err := t.WriteHeader(&header); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.content); err != nil {
			return nil, err
		}
	}
	err = errors.Join(t.Close(), z.Close()) // they write the rest
	return b.Bytes(), err
}
