module github.com/cihub/seelog

go 1.21
