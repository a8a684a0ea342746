package preview

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segment-to-launchdarkly/forwarder/consumer"
)

// Source selects the records to read. By default they are the newest ones, in equal shares from all
// partitions.
type Source struct {
	Topics    []string
	Limit     int       // maximum number of records
	From      time.Time // if set, read the first records at or after this time
	Partition int32     // if not negative, read only this partition
	Offset    int64     // if not negative, read the first records at or after this offset
	Follow    bool      // keep reading new records until the context is done
}

// Read calls visit for each selected record. It returns when all selected records are read, reading
// fails, visit returns an error, or ctx is done. If ctx is done after the selection of the records,
// Read returns nil, although some records might be missing.
func Read(ctx context.Context, kafka []kgo.Opt, src Source, visit func(*kgo.Record) error) error {
	client, err := kgo.NewClient(slices.Concat(kafka, consumer.ReaderOptions())...)
	if err != nil {
		return err
	}
	defer client.Close()
	logs, err := src.find(ctx, kadm.NewClient(client))
	if err != nil {
		return err
	}
	from := map[string]map[int32]kgo.Offset{}
	for name, l := range logs {
		if l.start == l.end && !src.Follow {
			delete(logs, name)
			continue
		}
		if from[name.topic] == nil {
			from[name.topic] = map[int32]kgo.Offset{}
		}
		from[name.topic][name.partition] = kgo.NewOffset().At(l.start)
	}
	client.AddConsumePartitions(from)

	read := 0
	for len(logs) > 0 && (read < src.Limit || src.Follow) {
		fetches := client.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return nil
		}
		for _, err := range fetches.Errors() {
			return fmt.Errorf("read topic %s, partition %d: %w", err.Topic, err.Partition, err.Err)
		}
		for _, r := range fetches.Records() {
			name := partition{r.Topic, r.Partition}
			l, reading := logs[name]
			if !reading || read == src.Limit && !src.Follow {
				continue
			}
			if (r.Offset < l.end || src.Follow) && !r.Attrs.IsControl() {
				read++
				if err := visit(r); err != nil {
					return err
				}
			}
			if r.Offset+1 >= l.end && !src.Follow {
				delete(logs, name)
			}
		}
	}
	return nil
}

type partition struct {
	topic     string
	partition int32
}

// offsets is the range of offsets to read from a partition, excluding end. end is the partition's
// last stable offset.
type offsets struct{ start, end int64 }

// find returns the range to read from each selected partition.
func (src Source) find(ctx context.Context, adm *kadm.Client) (map[partition]offsets, error) {
	starts, err := adm.ListStartOffsets(ctx, src.Topics...)
	if err != nil {
		return nil, fmt.Errorf("list the start offsets: %w", err)
	}
	if !src.From.IsZero() {
		if starts, err = adm.ListOffsetsAfterMilli(ctx, src.From.UnixMilli(), src.Topics...); err != nil {
			return nil, fmt.Errorf("list the offsets at %v: %w", src.From, err)
		}
	}
	ends, err := adm.ListCommittedOffsets(ctx, src.Topics...)
	if err != nil {
		return nil, fmt.Errorf("list the end offsets: %w", err)
	}
	logs := map[partition]offsets{}
	var errs []error
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		switch err := cmp.Or(end.Err, start.Err); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			errs = append(errs, fmt.Errorf("topic %s does not exist", end.Topic))
		case err != nil:
			errs = append(errs, fmt.Errorf("list the offsets of topic %s, partition %d: %w", end.Topic, end.Partition, err))
		case src.Partition < 0 || src.Partition == end.Partition:
			at := offsets{max(start.Offset, src.Offset), end.Offset}
			at.start = min(at.start, at.end)
			logs[partition{end.Topic, end.Partition}] = at
		}
	})
	if len(errs) > 0 {
		return nil, errs[0]
	}
	if len(logs) == 0 && src.Partition >= 0 {
		return nil, fmt.Errorf("topic %s has no partition %d", src.Topics[0], src.Partition)
	}
	if src.From.IsZero() && src.Offset < 0 {
		src.keepNewest(logs)
	}
	return logs, nil
}

// keepNewest moves the starts so that at most Limit records remain. Each partition gets an equal
// share. The unused share of a short partition goes to the other partitions.
func (src Source) keepNewest(logs map[partition]offsets) {
	byLength := make([]partition, 0, len(logs))
	for name := range logs {
		byLength = append(byLength, name)
	}
	length := func(name partition) int64 { return logs[name].end - logs[name].start }
	slices.SortFunc(byLength, func(a, b partition) int { return int(length(a) - length(b)) })
	left := int64(src.Limit)
	for i, name := range byLength {
		share := min(length(name), left/int64(len(byLength)-i))
		logs[name] = offsets{logs[name].end - share, logs[name].end}
		left -= share
	}
}
