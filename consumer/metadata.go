package consumer

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// The metadata of a commit records where batches beyond the committed offset end:
//
//	v1 +1000 +1000 +437 @dGhlIHRvcGljJ3MgSUQh
//
// Each number is the length of a range of offsets, the first from the committed
// offset on, each other from the end of the one before. Whoever reads the log from
// the committed offset on cuts at exactly those offsets. The last word is the ID of
// the topic: brokers that take commits by the topic's name store those of a topic that
// was deleted with the one that came in its place. Kafka stores the string
// with the offset and gives it to the partition's next owner; it is also readable in
// the output of the usual tools.
const metadataVersion = "v1"

// metadataBytes is the limit of a broker's offset.metadata.max.bytes unless it was
// changed. The window of a partition is small enough to stay below: see maxWindow.
const metadataBytes = 4096 - len(" @") - 22

// topicMark returns the last word of the metadata, with the space before it; nothing
// where topics have no IDs.
func topicMark(id [16]byte) string {
	if id == ([16]byte{}) {
		return ""
	}
	return " @" + base64.RawURLEncoding.EncodeToString(id[:]) // as Kafka's tools print it
}

// formatCuts returns the metadata for a commit of offset from, without the topic. The
// cuts ascend; one
// that does not lie beyond the one before ends the list, as do those beyond the
// limit: it returns how many are recorded.
func formatCuts(from int64, cuts []int64) (metadata string, recorded int) {
	b := append(make([]byte, 0, 64), metadataVersion...)
	for i, cut := range cuts {
		if cut <= from || len(b)+21 > metadataBytes {
			return string(b), i
		}
		b = append(b, " +"...)
		b = strconv.AppendInt(b, cut-from, 10)
		from = cut
	}
	return string(b), len(cuts)
}

// parseCuts undoes formatCuts, and returns what topicMark has added. Metadata that is
// not ours is an error; none at all is no cuts.
func parseCuts(from int64, metadata string) (cuts []int64, mark string, err error) {
	if metadata == "" {
		return nil, "", nil
	}
	if i := strings.Index(metadata, " @"); i >= 0 {
		metadata, mark = metadata[:i], metadata[i:]
	}
	words := strings.Split(metadata, " ")
	if words[0] != metadataVersion {
		return nil, "", fmt.Errorf("commit metadata is not of this program")
	}
	for _, word := range words[1:] {
		length, err := strconv.ParseInt(strings.TrimPrefix(word, "+"), 10, 64)
		if err != nil || !strings.HasPrefix(word, "+") || length <= 0 || from+length < from {
			return nil, "", fmt.Errorf("commit metadata is damaged at word %d", len(cuts)+2)
		}
		from += length
		cuts = append(cuts, from)
	}
	return cuts, mark, nil
}
