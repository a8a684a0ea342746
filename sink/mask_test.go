package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestMaskKeepsWhatTheResponseDoesNotQuote(t *testing.T) {
	body := `[{"kind":"custom","key":"Order Completed","userKey":"ann@example.com","creationDate":1592588370692,` +
		`"metricValue":99.84,"data":{"plan":"a \"b\" c","city":"M\u00fcnchen","path":"C:\\new","no":"ok","long":"` +
		strings.Repeat("0123456789", 1000) + `"}}]`
	for response, want := range map[string]string{
		"":                                    "",
		`{"message":"metricValue: bad"}`:      `{"message":"metricValue: bad"}`,
		"no":                                  "no",
		"user ann@example.com unknown":        "user [masked] unknown",
		"user ann@exam... unknown":            "user [masked]... unknown",
		"ann@exa":                             "ann@exa", // a part with less than 8 bytes
		`{"m":"key \"Order Completed\""}`:     "{\"m\":\"key \"[masked]\"\"}",
		`{"m":"key \\\"Order Completed\\\""}`: "{\"m\":\"key \"[masked]\"\"}",
		"at 1592588370692: 99.84":             "at [masked]: [masked]",
		`München M\u00fcnchen M\\u00FCnchen M&uuml;nchen`: "[masked] [masked] [masked] [masked]",
		`C:\new C:\\new C:\\\\new`:                        "[masked] [masked] [masked]",
		`a "b" c; a &quot;b&quot; c; a &amp;#34;b" c;`:    "[masked]; [masked]; [masked];",
		"plan: city": "[masked]: [masked]",
		"see " + strings.Repeat("0123456789", 1000): "see [masked]",
		body[:63] + "...": `[{"kind":"custom","key":"[masked]","userKey":"[masked]...`,
	} {
		if got := mask(response, []byte(body)); got != want {
			t.Errorf("%.80q: %q, want %q", response, got, want)
		}
	}
}

// quote returns value as a response could quote it.
func quote(r *rand.Rand, value string) string {
	for range r.IntN(3) {
		if r.IntN(4) == 0 {
			value = html.EscapeString(value)
			continue
		}
		escaped, _ := json.Marshal(value)
		value = string(escaped)
	}
	return value
}

func TestNoValueOfTheBodySurvivesInAResponse(t *testing.T) {
	alphabet := []rune(`abcdefgh01é王😀"\/<&; ` + "\n\t")
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		text := func() string {
			runes := make([]rune, 1+r.IntN(20))
			for i := range runes {
				runes[i] = alphabet[r.IntN(len(alphabet))]
			}
			return string(runes)
		}
		var values []string
		events := make([]map[string]any, 1+r.IntN(4))
		for i := range events {
			name, key, property, value := text(), text(), text(), text()
			number := r.IntN(1e9)
			values = append(values, name, key, property, value, fmt.Sprint(number))
			events[i] = map[string]any{
				"kind": "custom", "key": name, "userKey": key, "metricValue": number,
				"data": map[string]any{property: value},
			}
		}
		body, err := json.Marshal(events)
		if err != nil {
			t.Fatal(err)
		}
		var response strings.Builder
		for range 1 + r.IntN(6) {
			response.WriteString("  PROSE: ")
			switch value := values[r.IntN(len(values))]; r.IntN(3) {
			case 0:
				response.WriteString(quote(r, value))
			case 1: // a part of the value
				response.WriteString(value[:r.IntN(len(value)+1)] + "...")
			case 2: // a part of the body
				from := r.IntN(len(body))
				response.WriteString(quote(r, string(body[from:from+r.IntN(len(body)-from)])))
			}
		}
		got := html.UnescapeString(html.UnescapeString(strings.ReplaceAll(mask(response.String(), body), maskedText, "|")))
		for _, value := range values {
			for from := 0; from == 0 || from+minPartBytes <= len(value); from++ {
				part := value[from:min(from+minPartBytes, len(value))]
				if len(part) >= minMaskedBytes && part == line(part) && strings.Contains(got, part) {
					t.Fatalf("seed %d: %q survives in %q\nresponse %q\nbody %s", seed, part, got, response.String(), body)
				}
			}
		}
	}
}

// Otherwise, a stop during an outage would decompress and search every body in flight.
func TestCanceledRequestsAreNotMasked(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		ctx, cancel := context.WithCancel(b.ctx)
		defer cancel()
		j := &job{delivery: &delivery{ctx: ctx}, part: b.batchOf(1, 1, 0, true).whole}
		r := response{verdict: retryable, excerpt: "connection refused"}
		if got := b.client.excerpt(r, j); got != r.excerpt {
			t.Errorf("%q, want %q", got, r.excerpt)
		}
		cancel()
		if got := b.client.excerpt(r, j); got != "" {
			t.Errorf("%q after the request was canceled", got)
		}
	})
}

// A proxy can respond with the request.
func TestLogsAndRejectionsDoNotQuoteTheRequest(t *testing.T) {
	for _, compress := range []bool{false, true} {
		for _, status := range []int{400, 401, 500} {
			inBubble(t, nil, func(b *bubble) {
				b.respondWith(func(r *http.Request) *http.Response {
					sent, err := io.ReadAll(r.Body)
					if err != nil {
						t.Error(err)
					}
					if compress {
						sent = inflate(sent, len(event(b.cfg.Schema, 0, 0))+len("[]"))
					}
					response := withStatus(status, r)
					response.Body = io.NopCloser(strings.NewReader("unexpected: " + string(sent)))
					return response
				})
				b.deliver(b.batchOf(1, 1, 0, compress))
				b.requests(0)
				if log := b.log.String(); !strings.Contains(log, "unexpected") || strings.Contains(log, "user-of-") {
					t.Errorf("%d: want the response without the request: %s", status, log)
				}
				time.Sleep(b.cfg.BackoffMin)
				b.requests(0)
				for _, r := range b.rejections {
					if !strings.Contains(r.Excerpt, "unexpected") || strings.Contains(r.Excerpt, "user-of-") {
						t.Errorf("%d: want the response without the request: %s", status, r.Excerpt)
					}
				}
				if rejected := len(b.rejected()) == 1; rejected != (status == 400) {
					t.Errorf("%d: rejected %v", status, rejected)
				}
				b.respondWith(nil)
			})
		}
	}
}
