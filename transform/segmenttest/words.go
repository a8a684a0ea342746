package segmenttest

import "strconv"

// context appends a context of about the given length.
func (g *Generator) context(length int) {
	if length < 60 {
		return // server libraries and old libraries send no context
	}
	g.name("context")
	start := g.open()
	for part := range 9 {
		if len(g.buf)-start >= length {
			break
		}
		switch part {
		case 0:
			g.raw("library", g.pick(libraries...))
		case 1:
			g.raw("locale", g.pick(`"en-US"`, `"en-US"`, `"en-GB"`, `"de-DE"`, `"fr-FR"`, `"ja-JP"`))
		case 2:
			g.text("userAgent", g.pick(userAgents...))
		case 3:
			g.page()
		case 4:
			g.raw("ip", g.pick(`"203.0.113.`, `"198.51.100.`, `"192.0.2.`))
			g.buf = strconv.AppendInt(g.buf, int64(g.rng.IntN(256)), 10)
			g.buf = append(g.buf, '"')
		case 5:
			g.text("timezone", g.pick("America/New_York", "Europe/Berlin", "Asia/Tokyo", "America/Los_Angeles"))
		case 6:
			g.raw("campaign", g.pick(`{}`, `{"name":"spring_sale","source":"google","medium":"cpc","term":"flags"}`,
				`{"name":"newsletter","source":"mail","medium":"email"}`))
		case 7:
			g.raw("screen", g.pick(`{"width":1920,"height":1080,"density":2}`, `{"width":390,"height":844,"density":3}`))
		case 8:
			g.traits(length - (len(g.buf) - start))
		}
	}
	g.close(start)
}

// page appends the page object of a browser's context.
func (g *Generator) page() {
	path, title := g.pick(paths...), g.pick(titles...)
	g.name("page")
	start := g.open()
	g.text("path", path)
	g.text("referrer", g.pick("", "", "https://www.google.com/", "https://shop.example.com/"))
	g.text("search", g.pick("", "", "?utm_source=google&utm_medium=cpc&utm_campaign=spring_sale", "?ref=newsletter"))
	g.text("title", title)
	g.text("url", "https://shop.example.com", path)
	g.close(start)
}

// attributes appends members of about the given total length.
func (g *Generator) attributes(length int) {
	start := len(g.buf)
	first := g.rng.IntN(len(attributes))
	for i := range attributes {
		if len(g.buf)-start >= length {
			return
		}
		if a := attributes[(first+i)%len(attributes)]; a.values == nil {
			g.price(a.name, "")
		} else {
			g.raw(a.name, g.pick(a.values...))
		}
	}
	g.products(length - (len(g.buf) - start))
}

// products appends a list of products of about the given length.
func (g *Generator) products(length int) {
	start := len(g.buf)
	g.raw("products", "[")
	for first := true; first || len(g.buf)-start < length; first = false {
		if !first {
			g.buf = append(g.buf, ',')
		}
		product := g.open()
		g.id("product_id", "", 24)
		g.text("name", g.pick("Monopoly: 3rd Edition", "UNO Card Game", "Rubik\\u2019s Cube", "Carcassonne"))
		g.price("price", "")
		g.integer("quantity", int64(1+g.rng.IntN(3)))
		g.text("category", "Games")
		g.text("url", "https://shop.example.com", g.pick(paths...))
		g.close(product)
	}
	g.buf = append(g.buf, ']')
}

var eventNames = []string{
	"Order Completed", "Product Viewed", "Product Added", "Product Viewed", "Product List Viewed", "Checkout Started",
	"Checkout Step Completed", "Button Clicked", "Button Clicked", "Signed Up", "Signed In", "Trial Started",
	"Search Performed", "video_playback_started", "video_playback_completed", "Experiment Viewed", "Coupon Applied",
	"Invite Sent", "Menü geöffnet", `Clicked \"Buy\"`, "Page Load Time", "API Latency", "Feature Used",
	"Cart Viewed", "Subscription Renewed",
}

var titles = []string{
	"Pricing", "Home", "Product: Monopoly, 3rd Edition", "Checkout", "Docs \\u2014 Getting started", "Blog", "Über uns",
	"Search results", "Settings", "Account",
}

var paths = []string{
	"/pricing", "/", "/products/monopoly-3rd-edition", "/checkout", "/docs/getting-started",
	"/blog/2026/01/release-notes", "/about", "/search", "/settings/profile", "/account",
}

var libraries = []string{
	`{"name":"analytics.js","version":"next-1.70.0"}`, `{"name":"analytics.js","version":"next-1.70.0"}`,
	`{"name":"analytics.js","version":"next-1.66.1"}`, `{"name":"analytics-go","version":"3.3.0"}`,
	`{"name":"@segment/analytics-node","version":"2.1.3"}`, `{"name":"analytics-swift","version":"1.5.11"}`,
}

var userAgents = []string{
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) " +
		"Chrome/131.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) " +
		"Version/18.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
}

// attributes lists members of properties and traits with their possible JSON values. A member
// without listed values gets a random price.
var attributes = []struct {
	name   string
	values []string
}{
	{"category", []string{`"Games"`, `"Toys"`, `"Spiele & Mehr"`, `"Books"`, `null`}},
	{"price", nil},
	{"currency", []string{`"USD"`, `"EUR"`, `"GBP"`, `"JPY"`}},
	{"quantity", []string{`1`, `2`, `3`, `12`}},
	{"plan", []string{`"free"`, `"team"`, `"enterprise"`}},
	{"coupon", []string{`"SPRING20"`, `"WELCOME"`, `""`, `null`}},
	{"position", []string{`1`, `2`, `3`, `4`, `17`}},
	{"list_id", []string{`"hp-banner"`, `"related"`, `"search results"`}},
	{"brand", []string{`"Hasbro"`, `"Mattel"`, `"Käthe Kruse"`}},
	{"variant", []string{`"blue"`, `"red"`, `"200 pieces"`, `"L\/XL"`}},
	{"shipping", nil},
	{"tax", nil},
	{"discount", nil},
	{"step", []string{`1`, `2`, `3`}},
	{"payment_method", []string{`"credit card"`, `"invoice"`, `"paypal"`}},
	{"source", []string{`"google"`, `"newsletter"`, `"partner"`, `"direct"`}},
	{"experiment", []string{`"checkout-v2"`, `"new-search"`, `"pricing-page-2026"`}},
	{"variation", []string{`"control"`, `"treatment"`, `0`, `1`}},
	{"is_mobile", []string{`true`, `false`}},
	{"first_seen", []string{`"2025-11-03"`, `"2026-01-02T08:00:00Z"`, `1767340800`}},
	{"score", []string{`0`, `0.25`, `87`, `1e3`, `-4`}},
	{"city", []string{`"San Francisco"`, `"München"`, `"\u6771\u4eac"`, `"São Paulo"`}},
	{"industry", []string{`"Technology"`, `"Retail"`, `"Healthcare"`}},
	{"comment", []string{`"great 🎲"`, `"first line\nsecond line"`, `"he said \"yes\""`}},
}
