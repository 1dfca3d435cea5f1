module submodel.test/bed/pause

go 1.24.0
