package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size in bytes. It is written as a whole number with an optional unit: B, kB, MB, or GB
// (powers of 1000), or KiB, MiB, or GiB (powers of 1024). Letter case is ignored.
type Bytes int

// units is sorted by descending size, so that String finds the largest unit first.
var units = []struct {
	name string
	size int
}{
	{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1},
}

var errBytes = errors.New("must be a size such as 500kB, 1MiB, or 1048576")

func parseBytes(s string) (Bytes, error) {
	digits := strings.TrimRight(s, "bBkKmMgGiI")
	unit := s[len(digits):]
	n, err := strconv.Atoi(strings.TrimSpace(digits))
	if err != nil || n < 0 {
		return 0, errBytes
	}
	if unit == "" {
		return Bytes(n), nil
	}
	for _, u := range units {
		if strings.EqualFold(unit, u.name) {
			if n > math.MaxInt/u.size {
				return 0, errBytes
			}
			return Bytes(n * u.size), nil
		}
	}
	return 0, errBytes
}

// String formats the size in the largest unit that divides it evenly.
func (b Bytes) String() string {
	for _, u := range units[:len(units)-1] {
		if b != 0 && int(b)%u.size == 0 {
			return strconv.Itoa(int(b)/u.size) + u.name
		}
	}
	return strconv.Itoa(int(b))
}
