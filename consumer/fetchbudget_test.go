package consumer

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A few kilobytes can decompress to gigabytes. The test runs in real time, because the finalizers
// of the decompressors run outside a bubble.
func TestDecompressedFetchesAreBounded(t *testing.T) {
	w := newWorld(t, 1, 9)
	defer w.close()
	client, err := kgo.NewClient(append(w.kafka(), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.ProducerBatchMaxBytes(90<<20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat([]byte(" "), 2*maxBatchBytes)
	for p := range int32(8) {
		if err := client.ProduceSync(context.Background(),
			&kgo.Record{Topic: testTopic, Partition: p, Value: bomb}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 { // together larger than one fetch may be
		if err := client.ProduceSync(context.Background(),
			&kgo.Record{Topic: testTopic, Partition: 8, Value: bomb[:maxBatchBytes*2/3]}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := w.join(nil)
	w.produce(1000, nil, to(8))
	w.awaitDelivered(20 * time.Second)
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 4*maxBatchBytes {
		t.Errorf("heap grew by %d MiB", grown>>20)
	}
	problems := strings.Join(m.Status().Problems, "\n")
	for _, want := range []string{"cannot read topic segment, partition 3", "the batch at offset 0"} {
		if !strings.Contains(problems, want) {
			t.Errorf("problems do not contain %q: %s", want, problems)
		}
	}
	m.abort()
	m.end()
}

func TestDecompressionStopsAtTheBudget(t *testing.T) {
	pool := &recordPool{}
	b, err := newFetchBudget(pool)
	if err != nil {
		t.Fatal(err)
	}
	compressor, err := kgo.DefaultCompressor(kgo.ZstdCompression())
	if err != nil {
		t.Fatal(err)
	}
	var buffer bytes.Buffer
	batch, codec := compressor.Compress(&buffer, make([]byte, 20<<20))
	var last []byte
	for i, want := range []error{nil, nil, errFetchBudget} {
		out, err := b.Decompress(batch, codec)
		if !errors.Is(err, want) {
			t.Errorf("batch %d: %v, want %v", i, err, want)
		}
		if err == nil {
			last = out
		}
	}
	if _, err := b.Decompress(make([]byte, 1000), kgo.CodecNone); err != nil {
		t.Errorf("uncompressed batch: %v", err)
	}
	pool.PutDecompressBytes(last)
	if _, err := b.Decompress(batch, codec); err != nil {
		t.Errorf("after a batch was mapped: %v", err)
	}
	b.reset()
	if _, err := b.Decompress(batch, codec); err != nil {
		t.Errorf("after all records were polled: %v", err)
	}
}
