module worksong.test/goresque

go 1.21

require (
	github.com/benmanns/goworker v0.1.3
	github.com/garyburd/redigo v1.6.0
)

require (
	github.com/cihub/seelog v0.0.0 // indirect
	github.com/youtube/vitess v0.0.0 // indirect
	golang.org/x/net v0.20.0 // indirect
)

// goworker's logger and its pool of connections have no tag that could be asked for: see seelog and vitess.
replace (
	github.com/cihub/seelog => ./seelog
	github.com/youtube/vitess => ./vitess
)
