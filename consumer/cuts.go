package consumer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// metadataVersion is the first word of the metadata of a commit, which records the cuts beyond the
// committed offset:
//
//	v1 +1000 +1000 +437 @dGhlIHRvcGljJ3MgSUQh
//
// Each number is the length of a range of offsets. The first range begins at the committed offset,
// and every other range begins at the end of the previous one. The next owner of the partition
// seals its batches at exactly these offsets. The last word is the topic ID in the format of
// Kafka's tools. It is missing if the brokers have no topic IDs. Brokers that store offsets by
// topic name may apply those of a deleted topic to its replacement, and the ID distinguishes the
// two. Kafka stores the string with the offset and returns it to the next owner.
const metadataVersion = "v1"

// metadataBytes is the default of the broker setting offset.metadata.max.bytes. The metadata of a
// full window fits into it; see maxWindow.
const metadataBytes = 4096

// topicID identifies one incarnation of a topic. The zero topicID means that the ID is unknown.
type topicID = [16]byte

// idWordBytes is the length of the topic ID in the metadata, including the space before it.
const idWordBytes = len(" @") + 22

// formatMetadata returns the commit metadata for the committed offset from, the cuts in ascending
// order, and the topic ID, along with the number of cuts that it records. The list stops before a
// cut that is not above its predecessor, and before a cut that would exceed metadataBytes.
func formatMetadata(from int64, cuts []int64, id topicID) (metadata string, recorded int) {
	b := append(make([]byte, 0, 64), metadataVersion...)
	for _, cut := range cuts {
		if cut <= from || len(b)+len(" +")+19 > metadataBytes-idWordBytes {
			break
		}
		b = append(b, " +"...)
		b = strconv.AppendInt(b, cut-from, 10)
		from = cut
		recorded++
	}
	if id != (topicID{}) {
		b = append(b, " @"...)
		b = base64.RawURLEncoding.AppendEncode(b, id[:])
	}
	return string(b), recorded
}

// errForeignMetadata means that another program wrote the commit metadata.
var errForeignMetadata = errors.New("parse commit metadata: written by another program")

// parseMetadata is the inverse of formatMetadata. Empty metadata has no cuts and no topic ID.
func parseMetadata(from int64, metadata string) (cuts []int64, id topicID, err error) {
	if metadata == "" {
		return nil, id, nil
	}
	words := strings.Split(metadata, " ")
	if words[0] != metadataVersion {
		return nil, id, errForeignMetadata
	}
	words = words[1:]
	if n := len(words); n > 0 && strings.HasPrefix(words[n-1], "@") {
		raw, err := base64.RawURLEncoding.DecodeString(words[n-1][1:])
		if err != nil || len(raw) != len(id) {
			return nil, id, fmt.Errorf("parse commit metadata: %q is not a topic ID", words[n-1])
		}
		id = topicID(raw)
		words = words[:n-1]
	}
	for _, word := range words {
		length, err := strconv.ParseInt(strings.TrimPrefix(word, "+"), 10, 64)
		if err != nil || !strings.HasPrefix(word, "+") || length <= 0 || from+length < from {
			return nil, topicID{}, fmt.Errorf("parse commit metadata: %q is not a range length", word)
		}
		from += length
		cuts = append(cuts, from)
	}
	return cuts, id, nil
}
