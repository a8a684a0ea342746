package consumer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMetadataRoundTripKeepsCuts(t *testing.T) {
	if got, n := formatMetadata(100, []int64{1100, 2100, 2537}, topicID{}); got != "v1 +1000 +1000 +437" || n != 3 {
		t.Errorf("formatted %q with %d cuts", got, n)
	}
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Int64Range(0, 1<<62).Draw(t, "from")
		lengths := rapid.SliceOfN(rapid.Int64Range(1, 1<<50), 0, 2*maxWindow).Draw(t, "lengths")
		var cuts []int64
		at := from
		for _, length := range lengths {
			at += length
			cuts = append(cuts, at)
		}
		metadata, n := formatMetadata(from, cuts, topicID{})
		if n != len(cuts) || len(metadata) > metadataBytes {
			t.Fatalf("recorded %d of %d cuts in %d bytes", n, len(cuts), len(metadata))
		}
		if got, _, err := parseMetadata(from, metadata); err != nil || !slices.Equal(got, cuts) {
			t.Fatalf("parsed %v (%v), want %v", got, err, cuts)
		}
	})
}

func TestMetadataStaysBelowTheBrokersLimit(t *testing.T) {
	var cuts []int64
	for i := range int64(1000) {
		cuts = append(cuts, (i+1)<<40)
	}
	metadata, n := formatMetadata(0, cuts, topicID{})
	if len(metadata) > metadataBytes || n == 0 || n == len(cuts) {
		t.Fatalf("recorded %d cuts in %d bytes", n, len(metadata))
	}
	if got, _, err := parseMetadata(0, metadata); err != nil || !slices.Equal(got, cuts[:n]) {
		t.Errorf("parsed %d cuts (%v)", len(got), err)
	}
}

func TestForeignMetadataIsAnErrorWithoutCuts(t *testing.T) {
	for _, metadata := range []string{"consumer-1-7f3a", "v2 +1", "v1 1000", "v1 +0", "v1 +-5", "v1 +x", "v1  +1",
		"v1 +9223372036854775807", "v1 +1000 +", "AQID"} {
		if cuts, _, err := parseMetadata(10, metadata); err == nil || cuts != nil {
			t.Errorf("parsed cuts %v from %q (%v)", cuts, metadata, err)
		}
	}
	if cuts, _, err := parseMetadata(10, ""); err != nil || cuts != nil {
		t.Errorf("parsed cuts %v from empty metadata (%v)", cuts, err)
	}
}

func TestMetadataCarriesTheTopicID(t *testing.T) {
	id := topicID{1, 2, 3, 15: 255}
	metadata, _ := formatMetadata(7, []int64{9}, id)
	if metadata != "v1 +2 @AQIDAAAAAAAAAAAAAAAA_w" {
		t.Errorf("formatted %q", metadata)
	}
	if cuts, got, err := parseMetadata(7, metadata); err != nil || got != id || !slices.Equal(cuts, []int64{9}) {
		t.Errorf("parsed cuts %v, ID %v (%v)", cuts, got, err)
	}
	for _, metadata := range []string{"v1 @", "v1 @AQID", "v1 +2 @AQIDAAAAAAAAAAAAAAAA_w +3",
		"v1 @AQIDAAAAAAAAAAAAAAAA/w"} {
		if _, got, err := parseMetadata(7, metadata); err == nil || got != (topicID{}) {
			t.Errorf("parsed ID %v from %q (%v)", got, metadata, err)
		}
	}
}
