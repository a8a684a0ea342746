#!/bin/sh
# Copies Apache Kafka's jars from Maven Central into a cache outside the tree, for the tests on real Kafka.
# Does nothing if they are there. KAFKA_LIBS names another directory; apache_libs.go looks in the same places.
set -eu
cd "$(dirname "$0")"
version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' pom.xml)
libs=${KAFKA_LIBS:-${XDG_CACHE_HOME:-$HOME/.cache}/segment-to-launchdarkly/kafka-$version}

fail() { echo "fetch.sh: $*" >&2; exit 1; }

command -v java >/dev/null || fail "java is missing: Kafka needs Java 17 or later (Debian: apt-get install default-jre-headless)"
java=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
[ "${java:-0}" -ge 17 ] || fail "java is version ${java:-unknown}: Kafka needs Java 17 or later (Debian: apt-get install default-jre-headless)"

if [ ! -d "$libs" ]; then
	command -v mvn >/dev/null || fail "mvn is missing: the jars come from Maven Central (Debian: apt-get install maven)"
	mkdir -p "$(dirname "$libs")"
	part=$(mktemp -d "$libs.XXXXXX")
	trap 'rm -rf "$part"' EXIT
	mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$part" || fail "mvn could not copy the jars of Kafka $version"
	mv "$part" "$libs" # at once, so that a directory that is there is complete
	chmod 755 "$libs"
fi
echo "Apache Kafka $version: $libs"
