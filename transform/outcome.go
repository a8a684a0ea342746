package transform

// Outcome classifies the result of mapping one call.
type Outcome uint8

const (
	Event    Outcome = iota // rendered as a LaunchDarkly custom event
	Filtered                // not meant for LaunchDarkly; see the reason
	Rejected                // meant for LaunchDarkly, but unusable; see the reason
)

// String returns the outcome as it appears in metrics and in the output of the transform command.
func (o Outcome) String() string { return [...]string{"event", "filtered", "rejected"}[o] }

// Reason identifies why a call was filtered or rejected. Events have the reason [None].
// [Reason.Help] describes each reason.
type Reason uint8

const (
	None Reason = iota
	NotTrack
	NotACall
	Tombstone
	NoCalls
	NoConsent
	Integrations
	NotSelected
	OtherEvent
	Anonymous
	TooOld
	Malformed
	NoEventName
	NoUserKey
	NoTimestamp
	PropertiesNotObject
	TooLarge

	Reasons // number of reasons, for arrays indexed by Reason
)

var reasons = [Reasons]struct {
	name    string
	outcome Outcome
	help    string
}{
	None: {"", Event, "the call is an event"},

	NotTrack:     {"not_track", Filtered, "type is a Segment call type other than track"},
	NotACall:     {"not_a_call", Filtered, "type is missing or is not a Segment call type"},
	Tombstone:    {"tombstone", Filtered, "the record has no value, or its envelope has null content"},
	NoCalls:      {"no_calls", Filtered, "the record is an empty array or an empty batch"},
	NoConsent:    {"consent", Filtered, "the user did not consent to the categories in segment.consent"},
	Integrations: {"integrations", Filtered, "the integrations object excludes this destination"},
	NotSelected:  {"not_selected", Filtered, "a condition in segment.only or a redrive does not select the call"},
	OtherEvent:   {"event", Filtered, "segment.events does not select the event name"},
	Anonymous:    {"anonymous", Filtered, "a field in segment.require is neither a non-empty string nor a number"},
	TooOld:       {"too_old", Filtered, "the call is older than segment.max_age or segment.not_before allows"},

	Malformed:   {"malformed", Rejected, "the record or its content is not valid JSON, or the call is not an object"},
	NoEventName: {"no_event_name", Rejected, "event is neither a non-empty string nor a number"},
	NoUserKey:   {"no_user_key", Rejected, "the call contains no user key or context key"},
	NoTimestamp: {"no_timestamp", Rejected, "neither the call nor the record has a valid timestamp"},

	PropertiesNotObject: {"properties_not_object", Rejected, "properties is neither an object nor null"},
	TooLarge:            {"too_large", Rejected, "the event exceeds the maximum size"},
}

// Outcome returns the outcome of a call with this reason.
func (r Reason) Outcome() Outcome { return reasons[r].outcome }

// String returns the reason as it appears in metrics, logs, and dead letters. It returns "" for
// None.
func (r Reason) String() string { return reasons[r].name }

// Help returns a phrase that describes the reason.
func (r Reason) Help() string { return reasons[r].help }
