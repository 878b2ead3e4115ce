@main struct AISBF { static func main() {} }
