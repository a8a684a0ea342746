module github.com/segment-to-launchdarkly/forwarder/compare

go 1.26.0

replace github.com/segment-to-launchdarkly/forwarder => ..

require (
	github.com/go-json-experiment/json v1.27.2
	github.com/launchdarkly/go-sdk-common/v3 v3.4.0
	github.com/launchdarkly/go-sdk-events/v3 v3.5.0
	github.com/segment-to-launchdarkly/forwarder v0.0.0-00010101000000-000000000000
	github.com/tidwall/gjson v1.20.1
	pgregory.net/rapid v1.3.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/josharian/intern v1.0.0 // indirect
	github.com/launchdarkly/go-jsonstream/v3 v3.0.0 // indirect
	github.com/mailru/easyjson v0.7.6 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
