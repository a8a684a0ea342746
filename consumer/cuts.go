package consumer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// metadataVersion is the first word of the commit metadata, which records the cuts beyond the
// committed offset:
//
//	v1 +1000 +1000 +437 @dGhlIHRvcGljJ3MgSUQh
//
// Each number is the length of an offset range. The first range begins at the committed offset, and
// each later range begins where the previous one ends. The partition's next owner seals its batches
// at exactly these range ends. The last word is an @ followed by the topic ID in the format of
// Kafka's tools. This word is omitted if the topic has no ID. Brokers that store offsets by topic
// name may return a deleted topic's offsets for its replacement. The topic ID reveals the mismatch.
// Kafka stores the metadata with the offset and returns both to the next owner.
const metadataVersion = "v1"

// metadataBytes is the default value of the broker setting offset.metadata.max.bytes. The metadata
// of a full window fits within this limit; see maxWindow.
const metadataBytes = 4096

// topicID identifies one incarnation of a topic. The zero value means that the ID is unknown.
type topicID = [16]byte

// idWordBytes is the length of the topic ID in the metadata, including the space and the @ before
// the ID.
const idWordBytes = len(" @") + 22

// formatMetadata returns the metadata for a commit with the given cuts and topic ID, and the number
// of cuts recorded. The argument from is the committed offset. formatMetadata stops at the first
// cut that is not above its predecessor or does not fit in metadataBytes.
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
