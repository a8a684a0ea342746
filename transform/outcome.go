package transform

// Outcome says what became of one call.
type Outcome uint8

const (
	Event    Outcome = iota // rendered as a LaunchDarkly custom event
	Filtered                // not for LaunchDarkly; see the reason
	Rejected                // meant for LaunchDarkly but unusable; see the reason
)

// String returns the outcome as it stands in metrics and in the dry run.
func (o Outcome) String() string { return [...]string{"event", "filtered", "rejected"}[o] }

// Reason says why a call was filtered or rejected. It is [None] for an event.
type Reason uint8

const (
	None Reason = iota

	NotTrack     // filtered: type is not track
	Tombstone    // filtered: the record has a null value
	Integrations // filtered: the integrations object does not address us
	NoCalls      // filtered: the record is an empty array, or its batch is one

	Malformed           // rejected: not valid UTF-8 JSON of a known shape
	NoEventName         // rejected: event is neither a non-empty string nor a number
	NoUserKey           // rejected: no configured field holds a key
	NoTimestamp         // rejected: neither the call nor the record has a readable time after 1970
	PropertiesNotObject // rejected: properties is present, not null, and not an object
	TooLarge            // rejected: the event exceeds Config.MaxEventBytes

	Reasons // number of reasons, for arrays indexed by Reason
)

// Outcome returns the outcome that the reason belongs to.
func (r Reason) Outcome() Outcome {
	switch {
	case r == None:
		return Event
	case r < Malformed:
		return Filtered
	default:
		return Rejected
	}
}

// String returns the reason as it stands in metrics, logs and dead letters; "" for None.
func (r Reason) String() string {
	return [...]string{
		"", "not_track", "tombstone", "integrations", "no_calls",
		"malformed", "no_event_name", "no_user_key", "no_timestamp", "properties_not_object", "too_large",
	}[r]
}
