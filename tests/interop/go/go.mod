module worksong.test/gopeer

go 1.21

require (
	github.com/gocraft/work v0.5.1
	github.com/gomodule/redigo v1.8.3
)

require github.com/robfig/cron v1.2.0 // indirect
