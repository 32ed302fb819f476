module worksong.test/gobench

go 1.21

require (
	github.com/gocraft/work v0.5.2-0.20200429214246-5959e69ad211
	github.com/gomodule/redigo v1.8.3
)

require github.com/robfig/cron/v3 v3.0.1 // indirect
