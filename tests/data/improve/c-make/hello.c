#include <stdio.h>
#include <unistd.h>
int main(){puts("up");sleep(60);return 0;}
